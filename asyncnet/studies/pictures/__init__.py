"""The pictures of a report: how an outcome degrades, what combinations differ in, how runs learned, what happened to messages, clocks and actions."""
