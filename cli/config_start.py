"""What a new folder of a configuration has in it: files that are read as they are, and show what belongs there."""

from __future__ import annotations

ACCOUNTS = """\
# The accounts that may be entered, and their routers. What is not listed is refused.
# `ecr-grants onboard` makes the entry of an account B, its external id included.
version: 1
# Where instances may be; an account may have a list of its own. Without one any region passes, a misspelt one too.
# regions: [cn-hangzhou]
accounts: {}
#  "1000000000000001":                 # an account's uid, in quotes
#    name: network-hub
#    owner: network-team               # the group of people.yaml that answers for it
#    lead: network-leads               # the group whose word counts where its lead must agree; without it nobody's does
#    environment: production
#    role: ecr-grants-hub              # what AssumeRole is called with, and the external id
#    external_id: ecr-grants:production:1000000000000001
#    ecrs:
#      ecr-7vrbqv9lcgvzqbwwkm: {association: ours}   # theirs: account A's own automation makes the association
#    supernets: [10.20.0.0/16]         # of an account B: where its VPCs' addresses come from; without it nobody knows
#    special_prefixes: ["0.0.0.0/0"]   # of an account B: may be approved although it holds loopback and multicast addresses
"""

ISSUERS = """\
# The systems that seal approvals, their public keys, and what each may vouch for. What is not in its scope is refused.
version: 1
issuers: {}
#  self-service:
#    keys:
#      keys:
#        # what `ecr-grants keys new` prints; state: active, retired or compromised (`ecr-grants keys retire`, `compromise`)
#        - {kty: OKP, crv: Ed25519, kid: self-service-1, x: ..., state: active}
#    accounts: any                     # or a list of uids
#    ecrs: any                         # or a list of routers
#    kinds: [VPC, VBR]
#    sides: [grant]                    # grant: account B's side; associate: account A's
#    longest_days: 90                  # null: a lease of it may be endless
#    everyone: false                   # true: a revoke of it may close everyone's leases
#    keeps_four_eyes: false            # true: it sees to it itself that nobody approves what they asked for
"""

PEOPLE = """\
# People by all the names that systems and sign-ins have for them, the groups that answer for accounts, and delegations.
version: 1
persons: {}
#  requester:
#    subjects: ["self-service:requester@example.com"]   # provider:name; a provider is an issuer or a sign-in
groups: {}
#  network-team: [requester]
delegations: []
#  - {of: requester, to: approver, from: 2026-12-01T00:00:00Z, until: 2026-12-15T00:00:00Z}
"""
