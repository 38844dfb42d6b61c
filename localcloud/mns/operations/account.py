"""Operations on the account: its message logs, and the purchase of the service, which is always open here."""

from localcloud.mns.context import Context, Reply
from localcloud.mns.markup import document, leaf
from localcloud.mns.messages import new_id


def get_account_attributes(context: Context) -> Reply:
    """GET /?accountmeta=true"""
    return Reply(200, document("Account", leaf("LoggingBucket", context.store.logging_bucket(context.account))))


def set_account_attributes(context: Context) -> Reply:
    """PUT /?accountmeta=true"""
    bucket = context.asked.document("Account").child("LoggingBucket")
    if bucket is not None:
        context.store.set_logging_bucket(context.account, bucket.scalar().strip())
    context.call.effect = True
    return Reply(204)


def open_service(context: Context) -> Reply:  # noqa: ARG001 - every operation gets the context
    """POST /commonbuy/openservice; the service is always open here"""
    return Reply(200, document("OpenService", leaf("OrderId", new_id())))
