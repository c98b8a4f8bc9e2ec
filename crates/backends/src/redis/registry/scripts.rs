//! The scripts; what each does stands in its file.

use std::sync::LazyLock;

use crate::redis::script::Atomic;

macro_rules! scripts {
    ($($name:ident: $($file:literal)+;)+) => {
        #[derive(Debug)]
        pub(super) struct Scripts {
            $(pub(super) $name: Atomic,)+
        }

        pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
            $($name: Atomic::new(concat!($(include_str!(concat!("lua/", $file, ".lua"))),+)),)+
        });
    };
}

scripts! {
    begin: "state" "begin";
    finish: "state" "finish";
    look: "state" "look";
    poll: "state" "poll";
    raise: "state" "raise";
    mend: "state" "mend";
    put_app: "app" "put_app";
    delete_app: "app" "delete_app";
    put_endpoint: "app" "put_endpoint";
    delete_endpoint: "app" "delete_endpoint";
    put_back: "app" "put_back";
    heal: "app" "heal";
    fence: "app" "fence";
    endpoint_by_uid: "app" "endpoint_by_uid";
    page: "page";
    claim: "claim";
    release: "release";
    put_event_type: "put_event_type";
    delete_event_type: "delete_event_type";
    heal_type: "heal_type";
    tell_types: "state" "tell_types";
    validating: "validating";
}
