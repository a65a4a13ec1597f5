//! One redb file on one thread, behind a bounded handle; and a second copy of what is served.
