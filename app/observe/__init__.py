"""Makes one record of each response, and uses it for logs, metrics, traces and the status page."""
