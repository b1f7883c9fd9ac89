#include "scute/models/language/model_frame.h"

#include <fmt/format.h>

#include "scute/base/error.h"
#include "scute/kernels/elementwise.h"
#include "scute/kernels/hadamard.h"
#include "scute/models/language/language_model.h"
#include "scute/models/language/language_tensors.h"

namespace scute {

ModelFrame::ModelFrame(const LanguageTensors& tensors, const MambaConfig& config,
                       const Scheme& scheme, const LanguageModelSites& sites)
    : width_(config.width),
      embedding_factor_(config.embedding_factor),
      scheme_(scheme),
      embedding_output_(sites.embedding_output),
      head_input_(sites.head_input),
      norm_f_{to_vector(tensors.norm_f), config.norm_eps} {
  if (tensors.table.eight_bit_input()) {
    fail("backbone.embedding.input_scale", "no such tensor: ids are not rounded", "one");
  }
  embedding_ = Embedding(tensors.table);
}

void ModelFrame::leave(Run& run, MatView<const float> residual, MatView<float> out) const {
  if (scheme_.rotated_stream == scheme_.folded_head) {
    return norm_f_.show(run, residual, head_input_, scheme_.rotated_stream, 1, out);
  }
  norm_f_.unweighted(run, residual, out);
  run.pass(head_input_.rotated, out);
  run.on_rows(
      [&](auto rows) {
        inverse_hadamard_rows(rows);
        multiply_columns(rows, norm_f_.weight.data());
      },
      out);
  run.pass(head_input_.plain, out);
}

void ModelFrame::enter(Run& run, MatView<const float> prefix, std::span<const int32_t> ids,
                       MatView<float> residual) const {
  if (prefix.rows > 0) {
    if (prefix.cols != width_) {
      fail("the vectors before the tokens", fmt::format("a width of {}", width_),
           fmt::format("{}", prefix.cols));
    }
    copy_rows(prefix, residual.slice_rows(0, prefix.rows));
  }
  if (!ids.empty()) {
    const auto embedded = residual.slice_rows(prefix.rows, residual.rows - prefix.rows);
    embedding_(ids, embedded);
    scale_rows(run, embedding_factor_, embedded);
    run.pass(embedding_output_, embedded);
  }
  if (scheme_.rotated_stream) hadamard_rows(residual);
}

}  // namespace scute
