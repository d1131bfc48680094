"""What the end-to-end tests talk to: a real S3 service, a proxy that misbehaves on demand."""
