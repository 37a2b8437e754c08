//! `#[cached]`, in the same four stages as the derive macro.

mod attr;
mod expand;
mod model;
mod valid;

use proc_macro2::TokenStream;
use quote::quote;
use syn::ItemFn;

use crate::error::Errors;

/// Returns the function and its companions, or the unchanged function and its errors.
pub(crate) fn function(attributes: TokenStream, item: TokenStream) -> TokenStream {
    let function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(_) => {
            let error = syn::Error::new_spanned(
                item.clone(),
                "`cached` is for a function or a method with a body",
            );
            let error = error.into_compile_error();
            return quote!(#item #error);
        }
    };
    let mut errors = Errors::default();
    let attrs = attr::of_function(attributes, &mut errors);
    match valid::function(&function, attrs, errors) {
        Ok(function) => expand::function(&function),
        Err(errors) => {
            let errors = errors.into_compile_error();
            quote!(#function #errors)
        }
    }
}
