"""What surrounds the functions: queues, topic, roles, log project, alarms, database. Its values, and what is made from them.

``surroundings`` says what there has to be; ``templates`` and ``alarms`` write it as ROS templates; ``hub.yaml`` and its like are
those, to be applied. Nothing here runs in a function.
"""
