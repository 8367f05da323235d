//! Owns rows whose text columns bring their `_raw` twin along; refuses a text column without one.

use serde::Serialize;
use serde::ser::SerializeMap;

use super::text::Twin;

/// What one field of a row becomes: a column, or a column and its twin.
pub(super) trait Column {
    /// Adds the column `name` to `row`, and `twin` where it is text of the host.
    fn add<M: SerializeMap>(
        &self,
        row: &mut M,
        name: &'static str,
        twin: &'static str,
    ) -> Result<(), M::Error>;
}

impl Column for Twin {
    fn add<M: SerializeMap>(
        &self,
        row: &mut M,
        name: &'static str,
        twin: &'static str,
    ) -> Result<(), M::Error> {
        row.serialize_entry(name, &self.0)?;
        row.serialize_entry(twin, &self.1)
    }
}

impl Column for Option<Twin> {
    fn add<M: SerializeMap>(
        &self,
        row: &mut M,
        name: &'static str,
        twin: &'static str,
    ) -> Result<(), M::Error> {
        row.serialize_entry(name, &self.as_ref().map(|text| &text.0))?;
        row.serialize_entry(twin, &self.as_ref().and_then(|text| text.1.as_ref()))
    }
}

/// A column of the program's own words or numbers.
pub(super) trait Plain: Serialize {}

impl<T: Plain> Column for T {
    fn add<M: SerializeMap>(&self, row: &mut M, name: &'static str, _: &'static str) -> Result<(), M::Error> {
        row.serialize_entry(name, self)
    }
}

macro_rules! plain {
    ($($kind:ty),*) => { $(impl Plain for $kind {} impl Plain for Option<$kind> {})* };
}

plain!(bool, u32, u64, i64, String, &'static str);

/// Declares a row: a field of type [`Twin`] becomes the text column and its `_raw` twin.
macro_rules! row {
    ($(#[$about:meta])* struct $row:ident { $($(#[$doc:meta])* $column:ident: $kind:ty,)* }) => {
        $(#[$about])*
        struct $row { $($(#[$doc])* $column: $kind,)* }

        impl serde::Serialize for $row {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let mut row = to.serialize_map(None)?;
                $($crate::state::linux::row::Column::add(
                    &self.$column,
                    &mut row,
                    $crate::state::linux::row::plain_name(stringify!($column)),
                    $crate::state::linux::row::plain_name(concat!(stringify!($column), "_raw")),
                )?;)*
                serde::ser::SerializeMap::end(row)
            }
        }
    };
}
pub(super) use row;

/// `type` for `r#type`.
pub(super) fn plain_name(name: &'static str) -> &'static str {
    name.strip_prefix("r#").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use crate::state::linux::text::{Twin, text};

    row! {
        /// A row.
        struct Row {
            /// Text.
            r#type: Twin,
            /// Text that is missing.
            name: Option<Twin>,
            /// A number.
            uid: Option<u32>,
        }
    }

    #[test]
    fn text_has_its_twin_and_numbers_have_none() {
        let row = Row { r#type: text(b"a\xff"), name: None, uid: Some(7) };
        let json = serde_json::to_string(&row).unwrap();
        assert_eq!(json, r#"{"type":"a\\xff","type_raw":"Yf8=","name":null,"name_raw":null,"uid":7}"#);
    }
}
