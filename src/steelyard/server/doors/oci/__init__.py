"""The door of container tools: OCI distribution-spec 1.1 at `/v2/`, and the same in the native API's dialect."""
