//! Every property, on its seeds and on what grows from them.

#[test]
fn requests_and_replies_keep_to_the_vocabulary() {
    super::REQUEST.hold();
    super::REPLY.hold();
}

#[test]
fn sealed_records_and_boxes_open_as_they_were_or_not_at_all() {
    super::SEALED.hold();
    super::IMPORT_BOX.hold();
}

#[test]
fn key_files_are_read_or_refused() {
    super::KEY_FILE.hold();
}

#[test]
fn frames_are_answered_within_bounds_and_role_or_end_the_conversation() {
    super::DESK.hold();
}

#[test]
fn memory_of_a_gate_is_never_believed() {
    super::GATE.hold();
}
