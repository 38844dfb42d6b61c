'use strict';

// Drives the vendor's own Node client through the life of a queue and a topic; prints what it saw as one JSON object.
// Arguments: endpoint, account, access key id, secret.

const Client = require('@alicloud/mns');

const [endpoint, account, accessKeyId, accessKeySecret] = process.argv.slice(2);
const client = new Client(account, { endpoint, accessKeyId, accessKeySecret });

async function refusal(call) {
  try {
    await call();
  } catch (error) {
    return error.name;
  }
  return 'nothing was refused';
}

async function main() {
  const seen = {};
  const created = await client.createQueue('node', { DelaySeconds: 0, VisibilityTimeout: 60 });
  seen.created = [created.code, created.headers.location];
  seen.createdAgain = (await client.createQueue('node', { DelaySeconds: 0, VisibilityTimeout: 60 })).code;
  seen.conflict = await refusal(() => client.createQueue('node', { VisibilityTimeout: 61 }));
  seen.changed = (await client.setQueueAttributes('node', { VisibilityTimeout: 90 })).code;
  seen.visibility = (await client.getQueueAttributes('node')).body.VisibilityTimeout;
  await client.createQueue('node-2');
  const page = await client.listQueue('', 1, 'node');
  seen.listed = page.body.map((queue) => queue.QueueURL);

  seen.empty = await refusal(() => client.receiveMessage('node'));
  const sent = await client.sendMessage('node', { MessageBody: '{"text": "hällo"}', Priority: 4 });
  const peeked = await client.peekMessage('node');
  const received = await client.receiveMessage('node', 5);
  seen.message = [received.body.MessageBody, received.body.Priority, received.body.DequeueCount];
  seen.sameMessage = received.body.MessageId === sent.body.MessageId && peeked.body.MessageId === sent.body.MessageId;
  const changed = await client.changeMessageVisibility('node', received.body.ReceiptHandle, 120);
  seen.visibleLater = Number(changed.body.NextVisibleTime) > Number(received.body.NextVisibleTime);
  seen.deleted = (await client.deleteMessage('node', changed.body.ReceiptHandle)).code;
  seen.deletedTwice = await refusal(() => client.deleteMessage('node', changed.body.ReceiptHandle));

  const batch = await client.batchSendMessage('node', [{ MessageBody: 'a' }, { MessageBody: 'b' }, { MessageBody: 'c' }]);
  seen.batchSent = batch.body.length;
  seen.batchPeeked = (await client.batchPeekMessage('node', 16)).body.map((message) => message.MessageBody);
  const taken = (await client.batchReceiveMessage('node', 16, 5)).body;
  seen.batchReceived = taken.map((message) => message.MessageBody);
  const handles = taken.map((message) => message.ReceiptHandle);
  const failed = await client.batchDeleteMessage('node', ['malformed', handles[0]]);
  seen.batchDeleteFailures = failed.body.map((error) => [error.ErrorCode, error.ReceiptHandle]);
  seen.batchDeleted = (await client.batchDeleteMessage('node', handles.slice(1))).code;

  seen.topicCreated = (await client.createTopic('node', { MaximumMessageSize: 2048 })).code;
  seen.topicChanged = (await client.setTopicAttributes('node', { LoggingEnabled: 'True' })).code;
  const topic = (await client.getTopicAttributes('node')).body;
  seen.topic = [topic.TopicName, topic.MaximumMessageSize, topic.LoggingEnabled];
  seen.topicsListed = (await client.listTopic('', 10, 'node')).body.length;
  seen.published = (await client.publishMessage('node', { MessageBody: 'news', MessageTag: 'granted' })).code;

  seen.queueDeleted = (await client.deleteQueue('node')).code;
  seen.gone = await refusal(() => client.getQueueAttributes('node'));
  const stranger = new Client(account, { endpoint, accessKeyId, accessKeySecret: 'wrong' });
  seen.wrongSecret = await refusal(() => stranger.getQueueAttributes('node-2'));
  console.log(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
