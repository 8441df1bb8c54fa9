"""Images: found, labelled, decoded and named."""
