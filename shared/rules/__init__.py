"""What decides: plain functions of plain values. No SQL, no SDK, no clock; what is needed of them is handed in."""
