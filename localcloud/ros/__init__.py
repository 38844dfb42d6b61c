"""ROS templates (Resource Orchestration Service), read here and made a world of: queues, topics, subscriptions, roles, policies.

Nothing is taken from what wrote them, so what the tests run under is what a template says. What is not emulated is refused by
name: a resource type, a property, a function, a key.
"""
