//! What the program knows of people, and how it is kept little: ids become pseudonyms before anything is written
//! ([`Guard`]), a person can be forgotten ([`forget`]) and found to be gone ([`search`]), tables drop their old days
//! ([`retention`]), and what the environment keeps secret is not told ([`secrets`]).

mod erase;
pub mod forget;
mod forgotten;
mod guard;
mod key;
mod nobody;
pub mod person;
pub mod retention;
pub mod search;
pub mod secrets;

pub use forgotten::Forgotten;
pub use guard::Guard;
pub use key::Key;
pub use nobody::{EVERYBODY_ELSE, NOBODY};
pub use person::People;
