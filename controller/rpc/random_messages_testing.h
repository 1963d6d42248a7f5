// For tests that no field is forgotten.
#pragma once

#include <google/protobuf/message.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "common/base/random.h"
#include "common/base/str_cat.h"

namespace sluice {

// Gives every field of a message a value, three deep.
class RandomMessages {
 public:
  explicit RandomMessages(uint64_t seed) : random_(seed) {}

  template <class M>
  M Next() {
    M message;
    Fill(&message, 3);
    return message;
  }

 private:
  using FieldDescriptor = google::protobuf::FieldDescriptor;
  using Message = google::protobuf::Message;

  void Fill(Message* message, int depth) {
    const auto* reflection = message->GetReflection();
    for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor* field = message->GetDescriptor()->field(i);
      if (field->real_containing_oneof() != nullptr && random_.OneIn(2)) {
        continue;
      }
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && depth == 0) {
        continue;
      }
      const int count =
          field->is_repeated() ? static_cast<int>(random_.Below(3)) : 1;
      for (int n = 0; n < count; ++n) {
        FillField(message, reflection, field, depth);
      }
    }
  }
  void FillField(Message* message, const google::protobuf::Reflection* r,
                 const FieldDescriptor* f, int depth) {
    const bool many = f->is_repeated();
    switch (f->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32: {
        const auto v = static_cast<int32_t>(random_.Next64());
        many ? r->AddInt32(message, f, v) : r->SetInt32(message, f, v);
        break;
      }
      case FieldDescriptor::CPPTYPE_INT64: {
        const auto v = static_cast<int64_t>(random_.Next64());
        many ? r->AddInt64(message, f, v) : r->SetInt64(message, f, v);
        break;
      }
      case FieldDescriptor::CPPTYPE_BOOL:
        many ? r->AddBool(message, f, true) : r->SetBool(message, f, true);
        break;
      case FieldDescriptor::CPPTYPE_STRING: {
        const std::string v = StrCat("text ", random_.Below(1000000));
        many ? r->AddString(message, f, v) : r->SetString(message, f, v);
        break;
      }
      case FieldDescriptor::CPPTYPE_ENUM: {
        const auto* type = f->enum_type();
        const auto* v = type->value(
            static_cast<int>(random_.Below(type->value_count())));
        many ? r->AddEnum(message, f, v) : r->SetEnum(message, f, v);
        break;
      }
      case FieldDescriptor::CPPTYPE_MESSAGE:
        Fill(many ? r->AddMessage(message, f) : r->MutableMessage(message, f),
             depth - 1);
        break;
      default:
        FAIL() << f->full_name() << " has a type this test does not know";
    }
  }

  Random random_;
};

}  // namespace sluice
