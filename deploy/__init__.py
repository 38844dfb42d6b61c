"""What surrounds the functions: queues, topic, roles, log project, alarms, database. Its values, and the templates made from them.

``surroundings`` says what there has to be; ``templates`` and ``alarms`` write it as ROS templates; ``hub.yaml`` and the others are
those, to be applied. Nothing here runs in a function.
"""
