daemonize = false
run_as_root = true
pidfile = "DIR/pid"
data_path = "DIR/data"
interfaces = { "127.0.0.1" }
c2s_ports = { PORT }
s2s_ports = { }
http_ports = { }
https_ports = { }
modules_enabled = { "tls", "posix" }
modules_disabled = { "s2s" }
log = { { levels = { min = "info" }, to = "file", filename = "DIR/log" } }
ssl = { certificate = "CHAIN", key = "KEY" }
VirtualHost "mail.example"
