"""Every behaviour the vendor does not document, as a named switch with its default and the reason for it.

Nothing undocumented is decided anywhere else: code that has to choose reads a switch, and the product must pass under
every setting. A service that needs another switch adds a field here.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Switches(BaseModel):
    """The settings of one local cloud; can be changed while it runs."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    # Grants
    grant_twice: Literal["success", "conflict"] = Field(
        "success",
        description="The documented error list of Grant has no 'already exists' code, so an identical second grant is "
        "taken as done; 'conflict' answers Conflict.Lock, the only generic code that fits.",
    )
    grant_status: Literal["Active", "ACTIVE"] = Field(
        "Active", description="The documentation sample shows Active, a working client waits for ACTIVE."
    )
    foreign_instance: Literal["illegal_param", "calling_failed"] = Field(
        "illegal_param",
        description="Granting an instance the caller does not own has no code of its own: IllegalParam.InstanceId or "
        "OperationFailed.CallingVpcYaochi.",
    )
    revoke_absent: Literal["success", "not_found"] = Field(
        "success",
        description="No code is documented for revoking what is not granted; the sister API for VBRs documents 404 "
        "EcGrantRelation.NotExist.",
    )
    revoke_while_associated: Literal["success_kept", "conflict", "calling_failed"] = Field(
        "success_kept",
        description="Nothing is documented: the grant goes and the association stays, or Conflict.Lock, or "
        "OperationFailed.CallingVpcYaochi.",
    )
    delete_ecr_while_granted: Literal["success", "in_use"] = Field(
        "success", description="Whether an outstanding grant alone blocks the deletion of an ECR is not documented."
    )
    caller_type_other: Literal["required", "optional", "refused"] = Field(
        "required",
        description="A working client reads its own grants on a foreign ECR with CallerType=OTHER; the documentation "
        "knows only sub and parent. 'optional' shows them without it too, 'refused' follows the documentation.",
    )

    granted_on_unknown_ecr: Literal["not_found", "empty"] = Field(
        "not_found",
        description="Describing the grants of an ECR that does not exist or is not the caller's: a working client expects "
        "ResourceNotFound.EcrId, the documented error list does not have it.",
    )

    # Express Connect Router in general
    ecr_errors: Literal["http", "success_false"] = Field(
        "http",
        description="Metadata says HTTP 4xx for business errors; the envelope also allows Success:false inside a 200.",
    )
    dry_run_passed: Literal["success", "error"] = Field(
        "success",
        description="What a passed ECR dry run answers is not documented; 'error' is the VPC way, code DryRunOperation.",
    )
    idempotency_mismatch: Literal["refused", "replay"] = Field(
        "refused",
        description="A ClientToken used again with different parameters: IdempotentParameterMismatch, or the first "
        "answer once more.",
    )
    association_path: Literal["creating_associating", "creating", "associating"] = Field(
        "creating_associating", description="Which transitional states precede ACTIVE, and in which order."
    )
    dissociation_path: Literal["dissociating_deleting", "deleting", "dissociating"] = Field(
        "dissociating_deleting", description="Which transitional states an association passes before it is gone."
    )
    associate_twice: Literal["rejected", "conflict", "success"] = Field(
        "rejected",
        description="Associating or attaching what is linked to this ECR already has no code of its own: "
        "OperationFailed.RejectedBy…Yaochi, Conflict.Lock, or the same association once more.",
    )
    attach_ungranted: Literal["not_granted", "rejected"] = Field(
        "not_granted",
        description="Attaching a VBR without a grant: OperationDenied.NotGrantedByNodeOwner is not in Attach's list; the "
        "listed alternative is OperationFailed.RejectedByEcYaochi.",
    )

    # VPC
    unknown_vpc: Literal["InvalidVpcId.NotFound", "InvalidVpcID.NotFound", "Forbidden.VpcNotFound"] = Field(
        "InvalidVpcId.NotFound",
        description="The product spells this code in several ways (the last one with HTTP 400).",
    )

    # STS, RAM and the API gateway
    foreign_role_missing: Literal["not_exist", "no_permission"] = Field(
        "not_exist",
        description="An unknown role in another account: 404 EntityNotExist.Role, or 403 so that nothing leaks.",
    )
    session_arn: Literal["assumed-role", "role"] = Field(
        "assumed-role", description="How GetCallerIdentity spells the ARN of a role session is not documented."
    )
    signature_mismatch: Literal["400", "403"] = Field(
        "400", description="SignatureDoesNotMatch: the gateway list says 400, other pages 403."
    )
    secure_transport: Literal["false", "true"] = Field(
        "false",
        description="Value of acs:SecureTransport. Loopback is plain HTTP, so the honest value is false; set true to try "
        "policies that insist on TLS.",
    )

    # Queues and topics
    queue_slices: Literal["off", "on"] = Field(
        "off",
        description="Standard queues keep messages in several slices without order between them; 'on' makes batch "
        "receives return one slice only, in any order.",
    )
    batch_actions: Literal["both", "single", "batch"] = Field(
        "both",
        description="Which RAM action a batch call on a queue needs: the overview maps it to the single-message action, "
        "the per-operation pages name one of its own. A policy that grants both passes everywhere.",
    )
    batch_send_failure: Literal["400", "500"] = Field(
        "400",
        description="HTTP status of a batch send of which some messages were refused; no page says. Not 500 by default, so "
        "that a 500 always means trouble.",
    )
    delete_absent: Literal["success", "not_exist"] = Field(
        "success",
        description="Deleting a queue, topic or subscription that does not exist: the operations' pages list no error.",
    )
    lapsed_receipt: Literal["message_not_exist", "receipt_handle_error"] = Field(
        "message_not_exist",
        description="A well-formed receipt handle that no longer counts: 404 MessageNotExist on one page, 400 "
        "ReceiptHandleError on another.",
    )
    old_receipt: Literal["valid", "void"] = Field(
        "valid",
        description="Whether the handle from before a visibility change works until its own time is over; some official "
        "clients behave as if it did.",
    )
    message_counts: Literal["real", "zero"] = Field(
        "real", description="Message counts among a queue's attributes are being retired and will read 0."
    )
    long_poll: Literal["held", "immediate"] = Field(
        "held",
        description="Beyond an unpublished number of long polls per user an empty receive is answered at once; "
        "'immediate' does that always.",
    )
    dead_letter_id: Literal["new", "kept"] = Field(
        "new",
        description="Whether a message gets a new id in the dead-letter queue; the property DLQOriginMessageId suggests it.",
    )
    mns_stale_date: Literal["408", "400"] = Field(
        "408", description="HTTP status of TimeExpired: the error table says 408, the page on signing 400."
    )
    mns_token_refusal: Literal["AccessDenied", "InvalidAccessKeyId"] = Field(
        "AccessDenied",
        description="MNS lists no code of its own for a security token that is missing, wrong or expired.",
    )

    # Function Compute and event streams
    event_shape: Literal["objects", "strings", "single"] = Field(
        "objects",
        description="What a function gets from an MNS event stream: an array of objects, an array of JSON strings, or one "
        "event at a time; each is shown by some page.",
    )
    raised_exception: Literal["retry", "acknowledge"] = Field(
        "retry",
        description="Whether an exception raised by the handler (HTTP 200 with X-Fc-Error-Type) makes the trigger retry "
        "the batch is not documented.",
    )
    newer_glibc: Literal["refused", "noted"] = Field(
        "refused",
        description="A shared object in the package that wants a newer C library than the runtime has cannot be loaded "
        "there: the deployment is refused, or only the journal says so, for packages that are built elsewhere.",
    )
    dotted_handlers: Literal["refused", "found"] = Field(
        "refused",
        description="Every page writes a handler as file.method. Whether dots before that walk packages, as an older "
        "runtime did, no page says; 'found' does it.",
    )
    log_permission: Literal["refused", "noted"] = Field(
        "refused",
        description="A role that may not write to the logstore of logConfig deploys, and its logs are lost. That is refused "
        "here, because nobody would notice; 'noted' only says so.",
    )
    upload_times: Literal["stamped", "kept"] = Field(
        "stamped",
        description="The deployment tool was seen to give every file in the archive the time 2023-11-01, which makes byte "
        "code that goes by its source's time stale; 'kept' is for other ways of uploading.",
    )
    loopback_server: Literal["refused", "noted"] = Field(
        "refused",
        description="The server of a custom runtime has to listen on 0.0.0.0; one on 127.0.0.1 is never reached. 'noted' lets "
        "it be, for machines on whose network nothing may be open.",
    )
    time_out_ends: Literal["instance", "request"] = Field(
        "instance",
        description="Whether a request that takes too long ends its instance, and the other requests in it, or only itself, "
        "where instanceConcurrency is above 1.",
    )
    forwarded_headers: Literal["appended", "none"] = Field(
        "appended",
        description="Requests that reach a custom runtime were seen with X-Forwarded-For and X-Forwarded-Proto, to which the "
        "platform adds its own value behind a comma; no page promises them.",
    )
    freeze: Literal["on", "off"] = Field(
        "on", description="Instances are frozen between invocations; 'off' keeps their background threads running."
    )

    # Signing in
    sign_in_nonce: Literal["left_out", "echoed"] = Field(
        "left_out", description="The published list of ID token claims has no nonce; nothing says that one is echoed."
    )
    sign_in_claims: Literal["current", "older"] = Field(
        "current",
        description="Older pages show no type, the uid as sub (but for roles), and a name for the account itself.",
    )
    sign_in_expires_in: Literal["string", "number"] = Field(
        "string", description="expires_in was seen as a string on the wire; the documentation shows a number."
    )
    sign_in_client: Literal["form", "form_or_basic"] = Field(
        "form", description="Only client_secret in the form is documented; whether HTTP Basic works too is not."
    )
    sign_in_remembered: Literal["off", "on"] = Field(
        "off",
        description="Whether somebody who has signed in is asked again is not documented; 'on' sends a browser that carries "
        "the cookie straight back, as a console session would.",
    )
    sign_in_not_installed: Literal["page", "access_denied"] = Field(
        "page",
        description="People of an account that has not installed the application get nowhere: whether they see a page that "
        "says so or the application gets access_denied is not documented.",
    )
    sign_in_userinfo_refusal: Literal["401", "400", "403"] = Field(
        "401", description="HTTP status of userinfo for a bad token; a client's test shows the body, not the status."
    )

    def explained(self) -> list[dict[str, Any]]:
        """Name, value, alternatives and reason of every switch."""
        return [
            {
                "name": name,
                "value": getattr(self, name),
                "default": field.default,
                "values": list(getattr(field.annotation, "__args__", ())),
                "reason": field.description,
            }
            for name, field in type(self).model_fields.items()
        ]
