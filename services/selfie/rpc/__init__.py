"""What every gRPC process shares: the server, its guards, its errors, its operations."""
