"""Express Connect Router 2023-09-01 (openapi-ecr-vpc-sts.md section 1).

The owner of a VPC or VBR (B) grants; the owner of the ECR (A) associates or attaches. Transit routers are refused by
name. ``grants``, ``routers``, ``associations`` and ``attachments`` hold one function per operation, ``product`` the
table of them, ``common`` and ``links`` what they share.
"""
