"""What tests share: a project folder of their own, samples, servers, hostile files."""
