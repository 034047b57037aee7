"""Instructions a request: counted by callgrind, so they are the same on a busy machine as on a quiet one."""
