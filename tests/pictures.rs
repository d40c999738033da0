//! The list of formats in docs/pictures.md is the one that the program goes by.

use pillow_exact::{FORMATS, Format};

fn table(is_read: bool) -> String {
    let row = |format: &&Format| {
        let extensions: Vec<_> =
            format.extensions().iter().map(|extension| format!("`.{extension}`")).collect();
        format!("| {} | {} |\n", format.name(), extensions.join(" "))
    };
    let rows: String =
        FORMATS.iter().filter(|format| format.is_read() == is_read).map(|format| row(&format)).collect();
    format!("| format | extensions |\n|---|---|\n{rows}")
}

#[test]
fn the_document_has_the_formats_that_are_read_and_those_that_are_not() {
    let document = include_str!("../docs/pictures.md").replace("\r\n", "\n");
    for is_read in [true, false] {
        let table = table(is_read);
        assert!(document.contains(&table), "docs/pictures.md has another table than this:\n\n{table}");
    }
}
