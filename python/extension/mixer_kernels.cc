// What a mixer computes between its products, for those who multiply elsewhere: the bits of a
// model's own pass.
#include <nanobind/nanobind.h>

#include <string>

#include "extension/arrays.h"
#include "extension/module.h"
#include "scute/base/error.h"
#include "scute/kernels/elementwise.h"
#include "scute/kernels/hadamard.h"
#include "scute/kernels/scan.h"

namespace scute::python {
namespace {

namespace nb = nanobind;

/// float32 rows in the processor's memory, which the array must outlive.
struct Rows {
  Rows(nb::handle object, const char* where) : array(object, where) {
    const auto found = array.view();
    if (!found) fail(where, "float32 in order", "another array");
    view = *found;
  }
  void require(const char* where, int64_t rows, int64_t cols) const {
    if (view.rows == rows && view.cols == cols) return;
    fail(where, std::to_string(rows) + " x " + std::to_string(cols),
         std::to_string(view.rows) + " x " + std::to_string(view.cols));
  }

  FloatArray array;
  MatView<const float> view;
};

Tensor copy_of(MatView<const float> x) {
  Tensor out(DType::f32, {x.rows, x.cols});
  copy_rows(x, out.mutable_matrix<float>());
  return out;
}

nb::object convolved(nb::handle x, nb::handle weight, nb::handle bias) {
  const Rows in(x, "x"), taps(weight, "weight"), added(bias, "bias");
  taps.require("weight", taps.view.rows, in.view.cols);
  added.require("bias", 1, in.view.cols);
  Tensor out(DType::f32, {in.view.rows, in.view.cols});
  if (taps.view.rows < 1) fail("weight", "at least one tap", "none");
  {
    const nb::gil_scoped_release released;
    Tensor cache(DType::f32, {taps.view.rows - 1, in.view.cols});
    causal_conv_silu(in.view, taps.view.row(0), added.view.row(0), taps.view.rows,
                     cache.mutable_matrix<float>(), out.mutable_matrix<float>());
  }
  return to_numpy(out);
}

/// What both recurrences read, of one sequence.
struct ScanRows {
  ScanRows(const nb::tuple& inputs, const nb::tuple& weights, nb::handle before)
      : x(of(inputs, 4, 0), "x"),
        dt(of(inputs, 4, 1), "dt"),
        B(of(inputs, 4, 2), "B"),
        C(of(inputs, 4, 3), "C"),
        A(of(weights, 3, 0), "A"),
        D(of(weights, 3, 1), "D"),
        bias(of(weights, 3, 2), "dt_bias"),
        state(before, "state") {
    dt.require("dt", x.view.rows, dt.view.cols);
    B.require("B", x.view.rows, B.view.cols);
    C.require("C", x.view.rows, B.view.cols);
    bias.require("dt_bias", 1, dt.view.cols);
  }
  static nb::handle of(const nb::tuple& several, size_t count, size_t index) {
    if (several.size() != count) {
      fail("scan", std::to_string(count) + " arrays", std::to_string(several.size()));
    }
    return several[index];
  }
  /// (y, the state after it) of run(state, y), without the GIL.
  template <class Run>
  nb::tuple results(const Run& run) const {
    Tensor after = copy_of(state.view), y(DType::f32, {x.view.rows, x.view.cols});
    {
      const nb::gil_scoped_release released;
      run(after.mutable_matrix<float>(), y.mutable_matrix<float>());
    }
    return nb::make_tuple(to_numpy(y), to_numpy(after));
  }

  Rows x, dt, B, C, A, D, bias, state;
};

nb::tuple scan_channels(const nb::tuple& inputs, const nb::tuple& weights, nb::handle state) {
  const ScanRows in(inputs, weights, state);
  const int64_t E = in.x.view.cols, N = in.B.view.cols;
  in.dt.require("dt", in.x.view.rows, E);
  in.A.require("A", E, N);
  in.D.require("D", 1, E);
  in.state.require("state", E, N);
  return in.results([&](MatView<float> after, MatView<float> y) {
    selective_scan({.x = in.x.view,
                    .dt = in.dt.view,
                    .B = in.B.view,
                    .C = in.C.view,
                    .A = in.A.view,
                    .D = in.D.view.row(0),
                    .dt_bias = in.bias.view.row(0)},
                   after, y);
  });
}

nb::tuple scan_heads(const nb::tuple& inputs, const nb::tuple& weights, nb::handle state,
                     int64_t groups, float dt_min, float dt_max) {
  const ScanRows in(inputs, weights, state);
  const int64_t H = in.dt.view.cols, inner = in.x.view.cols;
  if (groups < 1 || inner % H != 0 || H % groups != 0 || in.B.view.cols % groups != 0) {
    fail("scan", "groups that divide heads and states, heads that divide channels",
         std::to_string(groups) + " groups, " + std::to_string(H) + " heads");
  }
  const bool per_channel = in.D.view.cols != H;
  in.A.require("A", 1, H);
  in.D.require("D", 1, per_channel ? inner : H);
  in.state.require("state", inner, in.B.view.cols / groups);
  return in.results([&](MatView<float> after, MatView<float> y) {
    head_scan({.x = in.x.view,
               .dt = in.dt.view,
               .B = in.B.view,
               .C = in.C.view,
               .A = in.A.view.row(0),
               .D = in.D.view.row(0),
               .D_per_channel = per_channel,
               .dt_bias = in.bias.view.row(0),
               .heads = H,
               .head_width = inner / H,
               .groups = groups,
               .state_size = in.B.view.cols / groups,
               .dt_min = dt_min,
               .dt_max = dt_max},
              after, y);
  });
}

nb::object gated(nb::handle x, nb::handle z) {
  const Rows in(x, "x"), gate(z, "z");
  gate.require("z", in.view.rows, in.view.cols);
  Tensor out(DType::f32, {in.view.rows, in.view.cols});
  {
    const nb::gil_scoped_release released;
    gate_silu(in.view, gate.view, out.mutable_matrix<float>());
  }
  return to_numpy(out);
}

nb::object normed(nb::handle x, int64_t group, float eps) {
  const Rows in(x, "x");
  if (group < 1 || in.view.cols % group != 0) {
    fail("group", "a divisor of " + std::to_string(in.view.cols), std::to_string(group));
  }
  Tensor out(DType::f32, {in.view.rows, in.view.cols});
  {
    const nb::gil_scoped_release released;
    rms_norm(in.view, nullptr, group, eps, out.mutable_matrix<float>());
  }
  return to_numpy(out);
}

nb::object turned(nb::handle x, bool inverse) {
  const Rows in(x, "x");
  if (!hadamard_factor(in.view.cols)) {
    fail("x", "a width that has a Hadamard transform", std::to_string(in.view.cols));
  }
  Tensor out = copy_of(in.view);
  {
    const nb::gil_scoped_release released;
    inverse ? inverse_hadamard_rows(out.mutable_matrix<float>())
            : hadamard_rows(out.mutable_matrix<float>());
  }
  return to_numpy(out);
}

}  // namespace

void bind_mixer_kernels(nb::module_& module) {
  module.def("causal_conv_silu", &convolved, nb::arg("x"), nb::arg("weight"), nb::arg("bias"),
             nb::sig("def causal_conv_silu(x: numpy.typing.ArrayLike, weight: "
                     "numpy.typing.ArrayLike, bias: numpy.typing.ArrayLike) -> "
                     "numpy.typing.NDArray[numpy.float32]"),
             "SiLU of the causal depthwise convolution of one sequence, x L x C, weight taps x C.");
  module.def("selective_scan", &scan_channels, nb::arg("inputs"), nb::arg("weights"),
             nb::arg("state"),
             nb::sig("def selective_scan(inputs: tuple, weights: tuple, state: "
                     "numpy.typing.ArrayLike) -> tuple[numpy.typing.NDArray[numpy.float32], "
                     "numpy.typing.NDArray[numpy.float32]]"),
             "Mamba-1's scan of one sequence: inputs x, dt L x E, B, C L x N; weights A E x N, D,\n"
             "dt_bias E; state E x N. Returns y and the state after it.");
  module.def("head_scan", &scan_heads, nb::arg("inputs"), nb::arg("weights"), nb::arg("state"),
             nb::arg("groups"), nb::arg("dt_min"), nb::arg("dt_max"),
             nb::sig("def head_scan(inputs: tuple, weights: tuple, state: numpy.typing.ArrayLike, "
                     "groups: int, dt_min: float, dt_max: float) -> "
                     "tuple[numpy.typing.NDArray[numpy.float32], "
                     "numpy.typing.NDArray[numpy.float32]]"),
             "Mamba-2's: inputs x L x H P, dt L x H, B, C L x G N; weights A, dt_bias H, D H or\n"
             "H P; state H P x N.");
  module.def("gate_silu", &gated, nb::arg("x"), nb::arg("z"),
             nb::sig("def gate_silu(x: numpy.typing.ArrayLike, z: numpy.typing.ArrayLike) -> "
                     "numpy.typing.NDArray[numpy.float32]"),
             "x times SiLU of z.");
  module.def("rms_norm", &normed, nb::arg("x"), nb::arg("group"), nb::arg("eps"),
             nb::sig("def rms_norm(x: numpy.typing.ArrayLike, group: int, eps: float) -> "
                     "numpy.typing.NDArray[numpy.float32]"),
             "Rows over the root of their mean square, `group` columns at a time.");
  module.def("hadamard", &turned, nb::arg("x"), nb::arg("inverse"),
             nb::sig("def hadamard(x: numpy.typing.ArrayLike, inverse: bool) -> "
                     "numpy.typing.NDArray[numpy.float32]"),
             "Each row transformed, or back.");
}

}  // namespace scute::python
