"""What is deployed: the package, the templates against the specification of ROS, the rights against what is used."""
