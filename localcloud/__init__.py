"""A local stand-in for the part of Alibaba Cloud that cross-account ECR grants touch.

It is a referee: it speaks the real wire formats to unmodified SDKs, checks signatures, RAM policies and quotas, and
refuses by name whatever it does not emulate. It never ships and imports nothing of the product it judges.
"""
