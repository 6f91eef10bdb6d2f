"""Who acts in a book: users, service accounts, customers, and the credentials of each."""
