"""What acts: the frame of a function's run, the loop that every grant is brought to rest by, and the timer's reconcile."""
