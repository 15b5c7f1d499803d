//! What a sandbox costs: from starting it to the command's first output, beside a bare bubblewrap with the same
//! namespaces, mounts and filters. For the benchmark; no part of running jobs.
