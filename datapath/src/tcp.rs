pub mod seq;
