//! The whole program from outside: the command line on real files, and what it leaves behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod billing;
mod bills;
mod checks;
mod cli;
mod close;
mod compress;
mod corrections;
mod deliveries;
mod evaluation;
mod explain;
mod families;
mod faults;
mod fold_in;
mod fuzz;
mod hostile;
mod hostile_sql;
mod hostile_texts;
mod interrupt;
mod ledger;
mod lineage;
mod memory;
mod night;
mod nights;
mod oracle;
mod order;
mod privacy;
mod readers;
mod reports;
mod resume;
mod routing;
mod runbook;
mod schedulers;
mod shop;
mod showback;
mod spill;
mod sql;
mod store;
mod stores;
mod trace;
mod tune;
mod units;
mod watch;
mod worked_example;
