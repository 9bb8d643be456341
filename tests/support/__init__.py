"""What several tests share: small scenarios, teams driven by hand, independent references, exact expectations, and commands in processes of their own."""
