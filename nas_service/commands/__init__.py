"""What the `nas` command does: functions that take a client and write through a console."""
