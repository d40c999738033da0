//! Tensors whose memory becomes NumPy's.

use clip_features::output::{Array, Dtype};
use half::{bf16, f16};
use numpy::{IntoPyArray, PyArrayMethods};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyDict};

/// The tensors of several images as one for each name, `[B, …]`; one image's memory, and its tiles, are taken as they are.
///
/// # Errors
/// Their shapes differ, or they are several tiles each.
pub(crate) fn stack(images: Vec<Vec<Array>>) -> Result<Vec<Array>, String> {
    let count = images.len();
    let mut images = images.into_iter();
    let mut stacked = images.next().unwrap_or_default();
    for array in &mut stacked {
        array.values.reserve_exact(array.values.len() * (count - 1));
    }
    for image in images {
        for (all, one) in stacked.iter_mut().zip(image) {
            if all.shape[1..] != one.shape[1..] || all.shape[0] != 1 || one.shape[0] != 1 {
                return Err(format!(
                    "the images give {} of shapes {:?} and {:?}, which are no batch: ask for one at a time",
                    all.name, all.shape, one.shape
                ));
            }
            all.values.extend(one.values);
        }
    }
    if count > 1 {
        stacked.iter_mut().for_each(|array| array.shape[0] = count);
    }
    Ok(stacked)
}

/// A dict of arrays by name. bfloat16 comes as its bits, in uint16.
pub(crate) fn to_python<'py>(
    py: Python<'py>,
    arrays: Vec<Array>,
    dtype: Dtype,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for Array { name, shape, values } in arrays {
        let shaped = |error: PyErr| PyValueError::new_err(error.to_string());
        let array = match dtype {
            Dtype::F32 => values.into_pyarray(py).reshape(shape).map_err(shaped)?.into_any(),
            Dtype::F16 => {
                let values: Vec<f16> = values.into_iter().map(f16::from_f32).collect();
                values.into_pyarray(py).reshape(shape).map_err(shaped)?.into_any()
            }
            Dtype::Bf16 => {
                let values: Vec<u16> =
                    values.into_iter().map(|value| bf16::from_f32(value).to_bits()).collect();
                values.into_pyarray(py).reshape(shape).map_err(shaped)?.into_any()
            }
        };
        dict.set_item(name, array)?;
    }
    Ok(dict)
}
