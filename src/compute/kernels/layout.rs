//! Every shader parses and validates, and Rust's parameter structs lie in memory as the shaders read them: no GPU needed.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::{als_cg, apply, embed, gather_grad, gram, product, sample_loss, score_topk};
use std::mem::{offset_of, size_of};

fn module(source: &str) -> naga::Module {
    let module = naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|error| panic!("{}", error.emit_to_string(source)));
    naga::valid::Validator::new(
        naga::valid::ValidationFlags::all(),
        naga::valid::Capabilities::empty(),
    )
    .validate(&module)
    .unwrap_or_else(|error| panic!("{}", error.emit_to_string(source)));
    module
}

/// `(member, offset)` pairs and the size of the struct `Params`.
fn params(module: &naga::Module) -> (Vec<(String, usize)>, usize) {
    let (_, params) = module
        .types
        .iter()
        .find(|(_, t)| t.name.as_deref() == Some("Params"))
        .unwrap();
    let naga::TypeInner::Struct { members, span } = &params.inner else {
        panic!("Params is not a struct");
    };
    let members = members
        .iter()
        .map(|m| (m.name.clone().unwrap(), m.offset as usize))
        .collect();
    (members, *span as usize)
}

macro_rules! check_layout {
    ($source:expr, $params:ty, $($field:ident),+) => {{
        let (members, span) = params(&module($source));
        let expected = vec![$((stringify!($field).to_owned(), offset_of!($params, $field))),+];
        assert_eq!(members, expected);
        assert_eq!(span, size_of::<$params>());
    }};
}

#[test]
fn gram_params_lie_as_the_shader_reads_them() {
    check_layout!(
        gram::WGSL,
        gram::Params,
        start,
        end,
        rows_per_split,
        splits,
        quads,
        dim,
        first,
        last,
        lambda
    );
}

#[test]
fn als_params_lie_as_the_shader_reads_them() {
    check_layout!(als_cg::WGSL, als_cg::Params, rows, first_row, offset, steps);
}

#[test]
fn topk_params_lie_as_the_shader_reads_them() {
    check_layout!(
        score_topk::WGSL,
        score_topk::Params,
        users,
        depth,
        first_item,
        end_item,
        id_offset,
        k,
        floor_key,
        fresh,
        last
    );
}

#[test]
fn training_params_lie_as_the_shaders_read_them() {
    check_layout!(
        embed::WGSL,
        embed::Params,
        count,
        quads,
        key,
        dropout,
        cosine,
        width,
        first
    );
    check_layout!(
        product::WGSL,
        product::Params,
        rows,
        depth,
        quads,
        row_stride,
        depth_stride,
        add,
        first_row
    );
    check_layout!(
        sample_loss::WGSL,
        sample_loss::Params,
        samples,
        negatives,
        width,
        quads,
        loss,
        first,
        second,
        first_sample
    );
    check_layout!(
        gather_grad::WGSL,
        gather_grad::Params,
        rows,
        samples,
        is_users,
        quads,
        key,
        dropout,
        cosine,
        first
    );
    check_layout!(
        apply::WGSL,
        apply::Params,
        rows,
        quads,
        optimizer,
        rate,
        l2,
        l1,
        first
    );
}
