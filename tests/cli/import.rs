//! Messages of an import.

use std::fs;

use crate::{Ended, ended, in_memory, program, run_with};

fn import(words: &[&str], input: &str) -> Ended {
    in_memory(&[&["import"], words].concat(), input)
}

#[test]
fn bad_rows_are_reported_and_the_rest_is_imported() {
    let csv = "\
count,id,name
1,a1,x
x,a2,\"two
lines\"
3,a3
4,,\"\"
2147483648,a5,z
\"\",a6,z
";
    let expected = "\
line 3: column `count`: the text is not of type int
line 5: it has 2 cells; the header names 3 columns
line 7: column `count`: the value is out of the range of type int
line 8: column `count`: the text is not of type int
2 rows imported, 4 bad rows skipped
";
    assert_eq!(import(&["a", "--format", "csv"], csv), ended(2, "", expected));
    let strict = "\
line 3: column `count`: the text is not of type int
1 row imported, stopped at a bad one
";
    assert_eq!(import(&["a", "-", "--format", "csv", "--strict"], csv), ended(2, "", strict));
}

#[test]
fn bad_lines_of_json_are_reported_and_the_rest_is_imported() {
    let jsonl = r#"{"id":"a1","count":1}

{"id":"a2","count":1.5}
{"count":1}
{"id":"a3","cuont":1}
[1]
{"id":"a4"}
"#;
    let expected = "\
line 3: column `count`: expected an integer for type int, found a number with a fraction
line 4: column `id`: the value is missing, and the column is part of the key
line 5: no column `cuont`; the columns are id, name, comment, count; did you mean `count`?
line 6: it is not a JSON object of the scope's columns
2 rows imported, 4 bad rows skipped
";
    assert_eq!(import(&["a", "--format", "jsonl"], jsonl), ended(2, "", expected));
}

#[test]
fn a_row_that_the_store_refuses_does_not_stop_the_others() {
    // `name` cannot be NULL and has no default: only an existing record could omit it.
    let jsonl = "{\"carrier\":\"AA\",\"name\":\"x\"}\n{\"carrier\":\"UA\"}\n{\"carrier\":\"B6\",\"name\":\"y\"}\n";
    let output = import(&["airlines", "--format", "jsonl"], jsonl);
    let (bad, summary) = output.stderr.split_once('\n').unwrap();
    assert!(bad.starts_with("line 2: ") && bad.contains("column `name`: "), "{output:?}");
    assert_eq!((output.code, summary), (2, "2 rows imported, 1 bad row skipped\n"));
}

#[test]
fn the_header_names_the_columns() {
    let header = |line: &str| import(&["a", "--format", "csv"], line).stderr;
    let error = |message: &str| format!("0 rows imported\nhilcat: {message}\n");
    assert_eq!(header(""), error("the CSV has no header line; its first line names the columns"));
    assert_eq!(
        header("id,nam\n"),
        error(
            "line 1, the header: no column `nam`; the columns are id, name, comment, count; did \
             you mean `name`?"
        )
    );
    assert_eq!(header("id,id\n"), error("line 1, the header: duplicate column `id`"));
    assert_eq!(
        header("\nname\n"),
        error("line 2, the header: it lacks the column `id`, which is unique")
    );
    assert_eq!(import(&["a", "--format", "csv"], "id\n"), ended(0, "", "0 rows imported\n"));
}

#[test]
fn the_format_follows_from_the_file_name_or_an_option() {
    let expected = "hilcat: neither the file name nor --format determines the format; give \
                    --format csv or --format jsonl\n";
    assert_eq!(import(&["a"], ""), ended(2, "", expected));
    assert_eq!(import(&["a", "x.txt"], ""), ended(2, "", expected));
    assert_eq!(in_memory(&["export", "a"], ""), ended(2, "", expected));
    assert_eq!(
        in_memory(&["export", "a", "--format", "csv"], ""),
        ended(0, "id,name,comment,count\n", "")
    );
    assert_eq!(in_memory(&["export", "d", "--format", "jsonl"], ""), ended(0, "", ""));
    assert_eq!(
        import(&["a", "no/such.csv"], ""),
        ended(2, "", "hilcat: no/such.csv: No such file or directory (os error 2)\n")
    );
    assert_eq!(
        import(&["a", "--format", "csv", "--null", ","], ""),
        ended(2, "", "hilcat: --null can have no comma, quote or end of line\n")
    );
}

/// Cells, JSON and keys on the command line follow the same rules.
#[test]
fn a_number_that_would_be_changed_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let schemas = directory.path().join("s.toml");
    let columns = "columns = [\"r\", \"d\"]\ncolumn_types = { id = \"real\", r = \"real\", d = \"double\" }\n";
    fs::write(&schemas, format!("[scopes.f]\n{columns}")).unwrap();
    let hilcat = |words: &[&str], input: &str| {
        let mut program = program();
        program.args(["--cache", "memory:", "--schemas"]).arg(&schemas).args(words);
        run_with(&mut program, input.as_bytes())
    };
    let refused = "\
line 2: column `d`: the value is out of the range of type double
line 3: column `r`: the value is out of the range of type real
line 4: column `r`: the value is out of the range of type real
line 5: column `d`: the integer has more digits than a value of type double holds; with a point, as in 1.0, it is rounded
line 6: column `r`: the integer has more digits than a value of type real holds; with a point, as in 1.0, it is rounded
1 row imported, 5 bad rows skipped
";
    let csv = "id,r,d\n1,0,1e400\n2,1e400,0\n3,1e-50,0\n4,0,9007199254740993\n5,16777217,0\n6,0.1,9007199254740993.0\n";
    assert_eq!(hilcat(&["import", "f", "--format", "csv"], csv), ended(2, "", refused));
    for key in ["16777217", "1e-50", "1e400"] {
        let output = hilcat(&["get", "f", key], "");
        assert!(output.code == 2 && output.stderr.contains("type real"), "{output:?}");
    }
}
