//! What did happen: verify, show, digest, rebuild. Links neither workers nor api.
