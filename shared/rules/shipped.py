"""The schema of policy, which is part of this code, and the policy that a new configuration starts from."""

from __future__ import annotations

SCHEMA = """\
// What policy can be asked, and what it is told then. Part of ecr-grants: a configuration holds a copy that must be equal.
// Every attribute is there in every question. What is not known is a value: "unknown", "unproved", an empty text, a number
// that no sensible limit lets through.

entity Group;
entity Person in [Group] = {
  known: Bool,                // listed in people.yaml; else the id is what somebody claims to be
};
entity Issuer;                // a system that seals approvals

entity InstanceType enum ["VPC", "VBR"];
entity Side enum ["grant", "associate"];                         // account B's half of a grant, account A's
entity FourEyes enum ["kept", "own", "unproved", "broken"];      // own: the issuer's scope says that it sees to it
entity Supernets enum ["listed", "unknown"];
entity Command enum ["mode", "hold", "lift", "adopt", "repair", "dead-redrive", "config-apply"];
entity Via enum ["ledger", "desk"];                              // with the ledger open, or signed in at the desk
entity TargetKind enum ["deployment", "ecr", "account", "grant", "dead", "configuration"];

entity Grant = {
  ecr: { id: String, owner_uid: String, owner: Group, environment: String },                    // account A
  instance: { type: InstanceType, id: String, region: String,
              owner_uid: String, owner: Group, environment: String },                           // account B
};
entity Target = { kind: TargetKind };

entity RequestKind enum ["grant", "change", "revoke"];

entity Account = {
  listed: Bool,               // in accounts.yaml; all that are not are asked about as one
  owner: Group,
  environment: String,
};

// Whoever may see an account sees every grant, lease and request that it is either side of.
action see appliesTo {
  principal: [Person],
  resource: [Account],
  context: { owner: Bool },   // an owner of that account, or somebody to whom one delegated
};

action ask appliesTo {
  principal: [Person],
  resource: [Grant],
  context: {
    kind: RequestKind,
    owns: { grant: Bool, associate: Bool },                      // whoever asks is an owner of that account
    emergency: Bool,
  },
};

action decide appliesTo {
  principal: [Person],
  resource: [Grant],
  context: {
    side: Side,
    agrees: Bool,              // the word itself: no can be said where yes cannot
    own: Bool,                // whoever decides asked for it, or decides instead of whoever did
    owner: Bool,              // an owner of that side's account, or somebody to whom one delegated it
    fresh: Bool,              // signed in within the last 15 minutes
    emergency: Bool,
    failed: Long,             // checks of preflight that found a fault; 1000: it has not looked
    unknown: Long,            // checks that could not be made
  },
};

action vouch appliesTo {
  principal: [Issuer],
  resource: [Grant],
  context: {
    opens: Bool,              // a lease; false: a revoke
    everyone: Bool,           // a revoke of every issuer's leases
    endless: Bool,            // no end, or an end that is only reported
    hours: Long,              // from approval to end, rounded up; 1000000000: endless; 0: a revoke
    age: Long,                // hours since the approval, rounded down; below 0: dated ahead
    prefixes: {
      count: Long,
      outside: Long,          // so many are not inside the supernets of the instance's account; unknown ones: all
      widest: Long,           // the length of the widest range that they make up together; 33: there is none
      supernets: Supernets,
    },
    sides: { grant: Bool, associate: Bool },                     // what the issuer vouches for
    leads: { grant: Bool, associate: Bool },                     // a lead of that account is among the approvers
    four_eyes: FourEyes,
    emergency: Bool,          // asked for as one; no seal can say so
  },
};

action operate appliesTo {
  principal: [Person],
  resource: [Target],
  context: {
    command: Command,
    via: Via,
    fresh: Bool,              // signed in within the last 15 minutes; never so via the ledger
  },
};
"""

POLICY = """\
// Who may. A forbid always wins; what nothing permits is refused. @id names the rule in the record, @advice is what people read.
// What can be asked about stands in policy.cedarschema. After a change: ecr-grants config check, ecr-grants policy test.

@id("owners-see")      permit (principal, action == Action::"see", resource) when { context.owner };
@id("operators-see")   permit (principal in Group::"operators", action == Action::"see", resource);
@id("auditors-see")    permit (principal in Group::"auditors", action == Action::"see", resource);
@id("people-ask")      permit (principal, action == Action::"ask", resource);
@id("people-decide")   permit (principal, action == Action::"decide", resource);
@id("issuers-vouch")   permit (principal, action == Action::"vouch", resource);
@id("people-operate")  permit (principal, action == Action::"operate", resource);

@id("not-your-own") @advice("You must leave this decision to somebody else: you asked for it.")
forbid (principal, action == Action::"decide", resource) unless { !context.own };

@id("known-people-ask") @advice("You must be listed in people.yaml with the name that you signed in by: ask an operator.")
forbid (principal, action == Action::"ask", resource) unless { principal.known };

@id("owners-decide") @advice("You must leave it to an owner of that side's account, or to whoever one delegated it to.")
forbid (principal, action == Action::"decide", resource) unless { context.owner };

@id("preflight-first") @advice("You must have what preflight found put right, and wait until it has looked again.")
forbid (principal, action == Action::"decide", resource) when { context.agrees } unless { context.failed == 0 };

@id("fresh-in-production") @advice("You must sign in anew to decide about production.")
forbid (principal, action == Action::"decide", resource) when { context.agrees && (
  resource.instance.environment == "production" || resource.ecr.environment == "production") } unless { context.fresh };

@id("operators-operate") @advice("You must be in the group operators of people.yaml, or leave it to somebody who is.")
forbid (principal, action == Action::"operate", resource) when { context.via == Via::"desk" }
unless { principal in Group::"operators" };

@id("fresh-to-operate") @advice("You must sign in anew for anything but a hold.")
forbid (principal, action == Action::"operate", resource) when { context.via == Via::"desk" }
unless { context.fresh || context.command == Command::"hold" };

@id("four-eyes") @advice("You must have it approved by a known person other than the requester, who must be known too.")
forbid (principal, action == Action::"vouch", resource) when { context.opens }
unless { [FourEyes::"kept", FourEyes::"own"].contains(context.four_eyes) };

@id("instance-side") @advice("You must have the instance's account (B) agree: nobody vouches for its side yet.")
forbid (principal, action == Action::"vouch", resource) when { context.opens }
unless { context.sides.grant || (context.emergency && context.sides.associate) };

@id("emergency-day") @advice("You must ask for 24 hours at most in an emergency, with an end that takes it down.")
forbid (principal, action == Action::"vouch", resource) when { context.emergency }
unless { !context.endless && context.hours <= 24 };

@id("someone-answers") @advice("You must have an owner of either account agree.")
forbid (principal, action == Action::"vouch", resource) when { !context.opens }
unless { context.sides.grant || context.sides.associate };

@id("endless-both-sides") @advice("You must have both accounts, A and B, vouched for, or ask for an end with on_end teardown.")
forbid (principal, action == Action::"vouch", resource) when { context.opens && context.endless }
unless { context.sides.grant && context.sides.associate };

@id("longest-lease") @advice("You must ask for 90 days at most where there is an end.")
forbid (principal, action == Action::"vouch", resource) when { context.opens && !context.endless }
unless { context.hours <= 2160 };

@id("inside-supernets") @advice("You must ask only for prefixes inside the supernets that are listed for the instance's account.")
forbid (principal, action == Action::"vouch", resource) when { context.opens } unless { context.prefixes.outside == 0 };

@id("wide-range") @advice("You must ask for ranges of /12 at most, or have a lead of each account, A and B, among the approvers.")
forbid (principal, action == Action::"vouch", resource) when { context.opens }
unless { context.prefixes.widest >= 12 || (context.leads.grant && context.leads.associate) };
"""
