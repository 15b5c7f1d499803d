//! What a query allows by the index is what it is true of.
