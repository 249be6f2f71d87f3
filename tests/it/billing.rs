//! A project with one file of bills, and the program run on it.

use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::shop::{query, recost, text, walk};

const HEADER: &str = "BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,\
                      InvoiceIssuerName,ResourceId,BilledCost,EffectiveCost,Tags,ChargeClass";

/// The project.
pub struct Bills(TempDir);

impl Bills {
    /// A project whose file holds these rows.
    pub fn new(rows: &[&str]) -> Self {
        let bills = Bills(TempDir::new().unwrap());
        bills.pipeline("bills", "");
        bills.deliver(rows);
        bills
    }

    /// The project folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes the pipeline file: the name of its source, and more lines at its top level.
    pub fn pipeline(&self, source: &str, more: &str) {
        let text = format!(
            "name = \"Bills\"\n{more}\n[run]\nhistory_days = 2\n[[sources]]\nname = \"{source}\"\n\
             kind = \"charges\"\npath = \"bill.csv\"\ndialect = \"focus\"\nmay_shrink = true\n\
             [attribution]\nknown_models = [\"A\", \"B\"]\n"
        );
        std::fs::write(self.path().join("pipeline.toml"), text).unwrap();
    }

    /// Writes a pipeline file whose only source has these keys beside its name and kind.
    pub fn source(&self, keys: &str) {
        let text = format!(
            "name = \"Bills\"\n[run]\nhistory_days = 2\n[[sources]]\nname = \"bills\"\nkind = \"charges\"\n{keys}\n\
             [attribution]\nknown_models = [\"A\", \"B\"]\n"
        );
        self.put("pipeline.toml", &text);
    }

    /// Writes a file below the project folder.
    pub fn put(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Puts other rows into the file.
    pub fn deliver<S: AsRef<str>>(&self, rows: &[S]) {
        self.bill("bill.csv", rows);
    }

    /// Writes a file of a bill.
    pub fn bill<S: AsRef<str>>(&self, file: &str, rows: &[S]) {
        let mut text = format!("{HEADER}\n");
        for row in rows {
            text.push_str(&format!("{},\n", row.as_ref()));
        }
        self.put(file, &text);
    }

    /// Runs the program in the project folder.
    pub fn recost(&self, args: &[&str]) -> Output {
        recost(self.path(), args)
    }

    /// Exit code and standard error of a night.
    pub fn run(&self, night: &str) -> (i32, String) {
        let out = self.recost(&["run", "pipeline.toml", "--date", night]);
        (out.status.code().unwrap(), text(&out.stderr))
    }

    /// The same of one whose stages all run, although nothing may have changed.
    pub fn run_again(&self, night: &str) -> (i32, String) {
        let out = self.recost(&["run", "pipeline.toml", "--date", night, "--force"]);
        (out.status.code().unwrap(), text(&out.stderr))
    }

    /// Runs a night, which must succeed.
    pub fn run_ok(&self, night: &str) {
        let (code, message) = self.run(night);
        assert_eq!(code, 0, "{message}");
    }

    /// The rows of a query, as lines of CSV without the header.
    pub fn query(&self, sql: &str) -> Vec<String> {
        query(self.path(), sql)
    }

    /// Billing period and sum of an amount of a table, one line each.
    pub fn sums(&self, table: &str, amount: &str) -> Vec<String> {
        self.query(&format!(
            "select billing_period, sum({amount}) from {table} group by 1 order by 1"
        ))
    }

    /// Path and bytes of the published files whose path has `part` in it, from the start of a name.
    pub fn files(&self, part: &str) -> Vec<(String, Vec<u8>)> {
        let root = self
            .path()
            .join("warehouse/current")
            .canonicalize()
            .unwrap();
        let mut files = vec![];
        walk(&root, &mut |path| {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            if format!("/{name}").contains(&format!("/{part}")) {
                files.push((name, std::fs::read(path).unwrap()));
            }
        });
        files.sort();
        files
    }
}
