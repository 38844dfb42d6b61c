'use strict';

// Drives the community's Node client through queues, topics and subscriptions; prints what it saw as one JSON object.
// It knows no endpoint of its own choosing: it addresses {account}.mns.{region}.aliyuncs.com through the HTTP proxy that
// the environment names, so its requests arrive with absolute-form targets and the account in the host.
// Arguments: account, access key id, secret.

const { Account, City, MNSTopic, MQ, MQBatch, Msg, NetworkType, Region, Subscription, Topic, Zone } = require('ali-mns');

const [accountId, keyId, keySecret] = process.argv.slice(2);
const account = new Account(accountId, keyId, keySecret);
account.setGA(false);
const region = new Region(City.Hangzhou, NetworkType.Public, Zone.China);

async function refusal(call) {
  try {
    await call();
  } catch (error) {
    return error.Error ? error.Error.Code : String(error);
  }
  return 'nothing was refused';
}

async function main() {
  const seen = {};
  const service = new MNSTopic(account, region);
  const queue = new MQ('community', account, region);
  const batches = new MQBatch('community', account, region);
  const topic = new Topic('community', account, region);

  await service.createP('community', { VisibilityTimeout: 60 });
  await queue.setAttrsP({ VisibilityTimeout: 90 });
  seen.visibility = (await queue.getAttrsP()).Queue.VisibilityTimeout;
  seen.listed = (await service.listP('comm', 10)).Queues.Queue.QueueURL;

  await queue.sendP('hällo <b>', 4, 0);
  seen.peeked = (await queue.peekP()).Message.MessageBody;
  const received = (await queue.recvP(5)).Message;
  seen.message = [received.MessageBody, received.Priority];
  const reserved = (await queue.reserveP(received.ReceiptHandle, 120)).ChangeVisibility;
  await queue.deleteP(reserved.ReceiptHandle);
  seen.empty = await refusal(() => queue.recvP());

  await batches.sendP([new Msg('a'), new Msg('b', 1)]);
  const taken = (await batches.recvP(5, 16)).Messages.Message;
  seen.batch = taken.map((message) => message.MessageBody);
  await batches.deleteP(taken.map((message) => message.ReceiptHandle));
  seen.batchEmpty = await refusal(() => batches.recvP(0, 16));

  await service.createTopicP('community', { MaximumMessageSize: 2048 });
  seen.topic = (await topic.getAttrsP()).Topic.MaximumMessageSize;
  seen.topics = (await service.listTopicP('comm')).Topics.Topic.TopicURL;
  const endpoint = `acs:mns:cn-hangzhou:${accountId}:queues/community`;
  await topic.subscribeP('in', endpoint, Subscription.NotifyStrategy.BACKOFF_RETRY, Subscription.NotifyContentFormat.SIMPLIFIED, 'granted');
  const subscription = new Subscription('in', topic);
  await subscription.setAttrsP({ NotifyStrategy: Subscription.NotifyStrategy.EXPONENTIAL_DECAY_RETRY });
  const attributes = (await subscription.getAttrsP()).Subscription;
  seen.subscription = [attributes.Endpoint, attributes.NotifyStrategy, attributes.FilterTag];
  seen.subscriptions = (await topic.listP()).Subscriptions.Subscription.SubscriptionURL;
  await topic.publishP('filtered out', true, 'denied');
  await topic.publishP('news', true, 'granted');
  seen.notified = (await queue.recvP(5)).Message.MessageBody;
  await topic.unsubscribeP('in');
  seen.unsubscribed = await refusal(() => subscription.getAttrsP());
  await service.deleteTopicP('community');
  await service.deleteP('community');
  seen.gone = await refusal(() => queue.getAttrsP());
  console.log(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
