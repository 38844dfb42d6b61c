"""What is deployed, how it gets there, and what surrounds it: queues, topic, roles, log project, alarms, database.

``surroundings`` says what there has to be; ``templates`` and ``alarms`` write it as ROS templates; ``hub.yaml`` and its like are
those, to be applied. ``package`` builds and checks what the functions run from. Nothing here runs in a function.
"""
