"""Any program that serves: its command, its checks and its signs are in the experiment."""
