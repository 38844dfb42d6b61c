"""What surrounds the functions: the templates against the specification of ROS, the rights against what is used."""
