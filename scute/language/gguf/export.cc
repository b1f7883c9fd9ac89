#include "scute/language/gguf/export.h"

#include <algorithm>

#include "scute/base/error.h"
#include "scute/language/gguf/tensors.h"
#include "scute/language/gguf/tokenizer.h"

namespace scute {
namespace {

/// general.file_type.
uint32_t gguf_file_type(GgufType type) {
  switch (type) {
    case GgufType::f32:
      return 0;
    case GgufType::bf16:
      return 32;
    case GgufType::q8_0:
      return 7;
    case GgufType::q4_0:
      return 2;
  }
  return 0;
}

GgufKeys general_keys(const ModelDescription& model, const std::string& architecture,
                      GgufType type) {
  GgufKeys keys{{"general.architecture", architecture},
                {"general.type", std::string("model")},
                {"general.name", model.name},
                {"general.file_type", gguf_file_type(type)}};
  if (type == GgufType::q8_0 || type == GgufType::q4_0) {
    keys.emplace_back("general.quantization_version", uint32_t{2});
  }
  return keys;
}

}  // namespace

GgufType parse_gguf_type(const std::string& name) {
  if (name == "f32") return GgufType::f32;
  if (name == "bf16") return GgufType::bf16;
  if (name == "q8_0") return GgufType::q8_0;
  if (name == "q4_0") return GgufType::q4_0;
  fail("--gguf", "f32, bf16, q8_0 or q4_0", name);
}

GgufExport write_gguf(const ModelDescription& model, GgufType type, const std::string& path) {
  const GgufArchitecture architecture = gguf_architecture(model);
  const GgufTokenizer tokenizer = gguf_tokenizer(model);
  const DeferredTensors tensors = float_tensors(model, std::nullopt);
  const std::vector<GgufPlan> plans = plan_gguf(model, architecture, tensors, type);
  GgufKeys keys = general_keys(model, architecture.name, type);
  GgufExport out{architecture.name, std::ssize(plans), 0, architecture.remarks};
  for (const GgufKeys* more : {&architecture.keys, &tokenizer.keys}) {
    keys.insert(keys.end(), more->begin(), more->end());
  }
  out.remarks.insert(out.remarks.end(), tokenizer.remarks.begin(), tokenizer.remarks.end());
  std::vector<GgufTensor> infos;
  for (const GgufPlan& plan : plans) {
    infos.push_back(plan.tensor);
    if (plan.uneven) ++out.kept;
  }
  GgufWriter writer(path, keys, std::move(infos));
  for (const GgufPlan& plan : plans) write_gguf_tensor(plan, writer);
  writer.commit();
  return out;
}

}  // namespace scute
