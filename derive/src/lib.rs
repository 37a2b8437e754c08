//! The derive macro of hilcat.

use proc_macro::TokenStream;

/// Derives `hilcat::ScopeRecord`.
#[proc_macro_derive(ScopeRecord, attributes(scope))]
pub fn derive_scope_record(_input: TokenStream) -> TokenStream {
    TokenStream::new()
}
