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
entity Command enum ["mode", "hold", "lift", "adopt", "dead-redrive", "config-apply"];
entity TargetKind enum ["deployment", "ecr", "account", "grant", "dead", "configuration"];

entity Grant = {
  ecr: { id: String, owner_uid: String, owner: Group, environment: String },                    // account A
  instance: { type: InstanceType, id: String, region: String,
              owner_uid: String, owner: Group, environment: String },                           // account B
};
entity Target = { kind: TargetKind };

action see, ask appliesTo { principal: [Person], resource: [Grant], context: {} };

action decide appliesTo {
  principal: [Person],
  resource: [Grant],
  context: {
    side: Side,
    own: Bool,                // whoever decides asked for it
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
  },
};

action operate appliesTo { principal: [Person], resource: [Target], context: { command: Command } };
"""

POLICY = """\
// Who may. A forbid always wins; what nothing permits is refused. @id names the rule in the record, @advice is what people read.
// What can be asked about stands in policy.cedarschema. After a change: ecr-grants config check, ecr-grants policy test.

@id("people-see")      permit (principal, action == Action::"see", resource);
@id("people-ask")      permit (principal, action == Action::"ask", resource);
@id("people-decide")   permit (principal, action == Action::"decide", resource);
@id("issuers-vouch")   permit (principal, action == Action::"vouch", resource);
@id("people-operate")  permit (principal, action == Action::"operate", resource);

@id("not-your-own") @advice("You must leave this decision to somebody else: you asked for it.")
forbid (principal, action == Action::"decide", resource) unless { !context.own };

@id("four-eyes") @advice("You must have it approved by a known person other than the requester, who must be known too.")
forbid (principal, action == Action::"vouch", resource) when { context.opens }
unless { [FourEyes::"kept", FourEyes::"own"].contains(context.four_eyes) };

@id("instance-side") @advice("You must have the instance's account (B) agree: the seal does not vouch for its side.")
forbid (principal, action == Action::"vouch", resource) when { context.opens } unless { context.sides.grant };

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
