//! What is found, how it is ranked, and what is shown of it.
