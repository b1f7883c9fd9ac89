// One quantization in progress: internal to this folder.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "scute/base/threads.h"
#include "scute/io/scratch_file.h"
#include "scute/language/plan_scales.h"
#include "scute/language/quantize.h"
#include "scute/quantize/grouping.h"
#include "scute/quantize/rotation.h"

namespace scute {

/// Bytes of a weight in work: it is there in double and in float.
constexpr int64_t kBytesOfWeight = 12;
/// Weights of a matrix in work at once, where some outputs can be without the others.
constexpr int64_t kWeightsAtOnce = int64_t{1} << 24;
/// Bytes of what GPTQ keeps of so many inputs while it rounds a matrix: three matrices of inputs²
/// doubles, the Hessian and two beside it (gptq.h). The sums that it is made of are copied as a
/// triangle, half a matrix, which is gone before the other two are there; they themselves are
/// counted where they are held.
constexpr int64_t gptq_bytes(int64_t inputs) { return 3 * 8 * inputs * inputs; }

/// The values in the precision that the float model has; of f64 f32.
Tensor stored_as(const Tensor& values, DType type);

/// A matrix on its way to its codes: what is to be done, which needs no memory until it is.
struct MatrixJob {
  std::string name;  ///< where it is stored, without ".weight"
  Tensor weight;     ///< as in the float model, for its precision
  LayerFormat format;
  std::string site;  ///< whose range its 8-bit input has; empty: no such input
  /// Their sum is its input's Hessian: several where layers share the matrix; empty: rounded to
  /// nearest.
  std::vector<std::string> hessian_sites = {};
  /// The Hessian is of few tokens, those sent to one expert: an input that was never other than
  /// zero there may be elsewhere, and keeps its weights.
  bool few_tokens = false;
  bool two_level;                     ///< 4-bit weights get a second scale, for 8-bit inputs
  std::vector<int32_t> outputs = {};  ///< row i is what row outputs[i] was; empty: as they are
  /// T·W·P·diag(factors)·Tᵀ, each step as in rotation.h and if it is asked for.
  std::vector<int32_t> order = {};
  std::vector<float> factors = {};
  bool rotate_inputs = false, rotate_outputs = false;

  MatrixJob(std::string name_, const Tensor& weight_, const LayerFormat& format_, std::string site_)
      : name(std::move(name_)),
        weight(weight_),
        format(format_),
        site(std::move(site_)),
        two_level(format_.eight_bit_activations()) {}

  /// No longer what the float model has.
  bool edited() const {
    return !outputs.empty() || !order.empty() || !factors.empty() || rotate_inputs ||
           rotate_outputs;
  }
  /// Outputs from `first` on as they are to be stored or rounded; all of them where outputs are
  /// rotated, which mixes them.
  Tensor edited_rows(int64_t first, int64_t count) const;
  /// What its input's Hessian becomes; reads this job's vectors.
  HessianEdit hessian_edit() const {
    return {.order = order, .factors = factors, .rotate = rotate_inputs};
  }
};

class GptqCheckpoint;

/// Collects the tensors of the checkpoint. What cannot be found in the plan is noted and reported
/// at the end, all of it at once.
class QuantizeJob {
 public:
  QuantizeJob(const ModelDescription& model, const Plan& plan, const StatisticsSet* statistics,
              const Hessians* hessians, const QuantizeOptions& options, const QuantizeRun& how,
              LayeredHessians* layered = nullptr);
  LowBitModel run();

 private:
  /// Refuses what is asked for kinds of parts that the model does not have.
  bool has_part(PartKind kind) const;
  /// Whether any part of that kind has such a format.
  bool any_part(PartKind kind, bool (*is)(const LayerFormat&)) const;
  void check_kinds() const;
  void check_formats() const;
  void decide_scheme();
  void remark_on_rotations();
  /// A block's norm and, one after the other, its parts.
  void block(const BlockConfig& block);
  void part(const BlockConfig& block, PartKind kind, const std::vector<float>& norm);
  void attention(const std::string& name, const std::string& sites, const LayerFormat& format,
                 const std::vector<float>& norm);
  void feed_forward(const std::string& name, const std::string& sites, const LayerFormat& format,
                    const std::vector<float>& norm);
  void experts(int64_t layer, const std::string& name, const LayerFormat& format,
               const std::vector<float>& norm);
  void router(const std::string& name, const std::vector<float>& norm);
  /// Whether this site's Hessian is of any token.
  bool reached(const std::string& site) const;
  /// Of those without a range of their own.
  void remark_on_experts(int64_t layer, const LayerFormat& format);
  /// Where that layer's experts were remarked on: of those that no token reached, which is known
  /// when the layer is rounded.
  void remark_on_silent_experts();
  /// The matrices of one expert.
  void expert(int64_t layer, const std::string& name, int64_t number, const LayerFormat& format,
              const std::vector<float>& norm);
  /// What all layers that use it share: the weights.
  void shared_block(int64_t number);
  void shared_matrix(int64_t number, const std::string& name, const char* op,
                     const LayerFormat& format);
  /// What one of them has of its own: the grids of inputs, adapters, the last matrix.
  void shared_use(const BlockConfig& block);
  /// That of the first layer that uses the block.
  LayerFormats shared_formats(int64_t number) const;
  /// A matrix that reads the norm's output, and one that writes the stream.
  /// `rotated`: its outputs, its inputs.
  void reader(const std::string& name, const std::string& site, const LayerFormat& format,
              const std::vector<float>& norm, bool rotated = false);
  void writer(const std::string& name, const std::string& site, const LayerFormat& format,
              bool rotated = false);
  /// The bias of a matrix, where there is one, rotated as its outputs are.
  void keep_bias(const std::string& name, bool rotated);
  /// The expert's own site, or the pooled one when the plan has no range of it.
  std::string expert_site(int64_t layer, int64_t expert);

  void mamba1(int64_t index, const LayerFormat& format, const std::vector<float>& norm);
  void mamba1_scales(int64_t index, const std::string& name);
  /// Where --group-heads puts a Mamba-2 layer's rows; as they were without.
  struct Mamba2Order {
    bool changed = false;
    HeadGrouping grouping;
    std::vector<int32_t> in_proj, convolution;  ///< of their rows
    Tensor rows(Tensor tensor, const std::vector<int32_t>& order) const {
      return changed ? permute_rows(tensor, order) : tensor;
    }
  };
  void mamba2(int64_t index, const LayerFormat& format, const std::vector<float>& norm);
  Mamba2Order mamba2_order(int64_t index, const LayerFormat& format) const;
  void mamba2_inputs(int64_t index, const std::string& name, const Mamba2Order& order,
                     const LayerFormat& format, const std::vector<float>& norm);
  void mamba2_scan(const std::string& name, const Mamba2Order& order, const LayerFormat& format);
  void mamba2_outputs(int64_t index, const std::string& name, const Mamba2Order& order,
                      const LayerFormat& format);
  /// `grouping` may be null.
  void mamba2_scales(int64_t index, const std::string& name, const HeadGrouping* grouping);
  void grouped_scales(int64_t index, const std::string& scan, const HeadGrouping& grouping);
  /// What no group of the site's channels goes beyond, from what was seen there.
  double grouped_range(const std::string& site, const Statistic& seen);
  void table();
  void head(const LayerFormat& format);

  /// W·diag(norm)·Tᵀ as far as the scheme says; `norm` is then stored as ones.
  void input_matrix(MatrixJob& job, std::vector<float> norm) const;
  /// T·W·diag(norm)·Tᵀ for out_proj.
  void output_matrix(MatrixJob& job, std::vector<float> norm) const;
  /// Checks it and notes its place; its tensors come with finish_matrices().
  void matrix(MatrixJob job);
  WeightFormat weight_format(const MatrixJob& job) const;
  /// An expert's matrix that no token reached is not, which is known once its Hessian is.
  bool by_gptq(const MatrixJob& job) const {
    return options_.gptq && !job.hessian_sites.empty() &&
           (!job.few_tokens || reached(job.hessian_sites.front()));
  }
  void check_hessians(const MatrixJob& job) const;
  Gram hessian_of(const MatrixJob& job) const;

  struct Pending {
    MatrixJob job;
    size_t place;  ///< in out_.tensors, before which its own belong
    std::vector<NamedTensor> tensors = {};
    std::optional<GptqReport> report = {};
  };
  /// All of them, in the order in which their Hessians come; then all tensors in their order.
  void finish_matrices();
  /// Several at once, the outputs of each shared by threads that would be idle.
  void finish_some(const std::vector<Pending*>& some);
  void finish_by_layers();
  /// The matrices whose last Hessian has come leave `waiting`, are finished, and kept if need be.
  void finish_ready(std::vector<Pending*>& waiting, GptqCheckpoint* kept);
  /// Those that a run before this one finished leave `waiting`.
  void take_finished(const GptqCheckpoint& kept, std::vector<Pending*>& waiting);
  /// All that decides the sums and what becomes of the matrices.
  Json kept_key() const;
  void finish(Pending& pending, const Team& team);
  void end(Pending& pending);
  int64_t bytes_at_work(const MatrixJob& job) const;
  void convolution(const std::string& name, const Tensor& weight, const LayerFormat& format);
  void keep(std::string name, Tensor tensor) {
    out_.tensors.push_back({std::move(name), std::move(tensor)});
  }
  void scale(std::string name, float value) {
    keep(std::move(name), Tensor::of<float>({1}, std::span(&value, 1)));
  }
  /// The scales of the convolution's input: of each channel from the largest magnitude seen there,
  /// in the order of the stored channels, or one from the plan.
  void conv_input_scales(const std::string& to, const std::string& site,
                         std::span<const int32_t> order = {});
  /// The scale of the state, and of each of its channels from the largest magnitude seen there.
  void state_scales(int64_t index, const std::string& scan);
  /// Null when there are no statistics, or none with the elements' magnitudes.
  const Statistic* state_statistic(int64_t index) const;
  const Statistic& statistic(const std::string& site) const;
  Tensor take(const std::string& name) { return weights_.take(name); }
  std::vector<float> take_floats(const std::string& name);
  void keep_norm(const std::string& name, const Tensor& norm, bool folded);
  struct Rounding;
  /// What is to be known of the whole matrix before its first output is rounded.
  void begin_rounding(const MatrixJob& job, Rounding& how, const Team& team) const;
  /// Of outputs from `first` on, in ascending order.
  std::vector<NamedTensor> finished_rows(const MatrixJob& job, Rounding& how, int64_t first,
                                         int64_t count, const Team& team) const;
  /// Outputs that are in work at once: those of a few weights, but all where rotating mixes them.
  int64_t outputs_at_once(const MatrixJob& job) const;
  std::string site(int64_t layer, const char* name) const;
  std::string input_site(std::string name, bool rotated) const;
  std::string stored_state_scale() const;
  /// What config.json says of a layer: kinds that it does not have are as its first part.
  LayerFormats stored_formats(int64_t layer) const;
  Json recipe() const;
  /// Each sentence once.
  void remark(const std::string& sentence);

  const ModelDescription& model_;
  const MambaConfig& config_;
  const QuantizeOptions& options_;
  const StatisticsSet* statistics_;
  const Hessians* hessians_;
  LayeredHessians* layered_;  ///< null: all Hessians are given
  Hessians of_layer_;         ///< with it: those at hand
  Threads threads_;
  const QuantizeProgress& progress_;
  const QuantizeMemory& memory_;
  const std::optional<WorkKeeping>& keeping_;
  std::unique_ptr<ScratchFile> scratch_;  ///< of finished tensors; null: they stay in memory
  std::atomic<int64_t> finished_ = 0;
  Weights weights_;
  PlanScales scales_;
  std::vector<Pending> pending_;
  struct ExpertsRemark {
    int64_t layer;
    size_t place;       ///< in out_.remarks
    size_t first, end;  ///< of its experts' matrices, among all
    int64_t silent = 0;
  };
  std::vector<ExpertsRemark> experts_remarks_;
  bool folded_ = true;
  Scheme scheme_;
  LowBitModel out_;
};

}  // namespace scute
