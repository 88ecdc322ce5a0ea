/* Types of C: void, integers of up to 64 bits, float and double. */
#include "frontend/c_parts.h"

/* Why a canonical type is not supported. */
static const char *type_reason(enum CXTypeKind kind) {
  switch (kind) {
  case CXType_Pointer:
  case CXType_BlockPointer: return "pointers are not supported";
  case CXType_ConstantArray:
  case CXType_IncompleteArray: return "arrays are not supported";
  case CXType_VariableArray: return "arrays of variable length are not supported";
  case CXType_Record: return "structures and unions are not supported";
  case CXType_Complex: return "complex numbers are not supported";
  case CXType_LongDouble:
  case CXType_Float128: return "no type wider than double is supported";
  case CXType_Int128:
  case CXType_UInt128: return "no integer wider than 64 bits is supported";
  case CXType_Half:
  case CXType_Float16:
  case CXType_BFloat16: return "floats of 16 bits are not supported";
  case CXType_Vector:
  case CXType_ExtVector: return "vectors are not supported";
  case CXType_Atomic: return "atomic types are not supported";
  case CXType_FunctionProto:
  case CXType_FunctionNoProto: return "functions as values are not supported";
  default: return "only void, integers, float and double are supported";
  }
}

bool hmoec_c_type_read(hmoec_c_reader *reader, CXType type, const char *of, hmoec_c_type *out_type) {
  CXType canonical = clang_getCanonicalType(type);
  const char *reason = NULL;
  if (canonical.kind == CXType_Enum)
    canonical = clang_getCanonicalType(clang_getEnumDeclIntegerType(clang_getTypeDeclaration(canonical)));
  hmoec_c_type result = {HMOEC_C_INTEGER, 0, false};
  switch (canonical.kind) {
  case CXType_Void: result.class = HMOEC_C_VOID; break;
  case CXType_Float: result = (hmoec_c_type){HMOEC_C_FLOATING, 32, true}; break;
  case CXType_Double: result = (hmoec_c_type){HMOEC_C_FLOATING, 64, true}; break;
  case CXType_Bool: result = hmoec_c_bool; break;
  case CXType_Char_S:
  case CXType_SChar:
  case CXType_WChar:
  case CXType_Short:
  case CXType_Int:
  case CXType_Long:
  case CXType_LongLong: result.is_signed = true; /* fall through */
  case CXType_Char_U:
  case CXType_UChar:
  case CXType_Char16:
  case CXType_Char32:
  case CXType_UShort:
  case CXType_UInt:
  case CXType_ULong:
  case CXType_ULongLong: result.bits = (unsigned)(clang_Type_getSizeOf(canonical) * 8); break;
  default: reason = type_reason(canonical.kind); break;
  }
  if (!reason && (clang_isVolatileQualifiedType(type) || clang_isVolatileQualifiedType(clang_getCanonicalType(type))))
    reason = "volatile is not supported";
  *out_type = result;
  if (!reason) return true;
  return hmoec_c_refuse(reader, "%s has the type '%s': %s", of, hmoec_c_text(reader, clang_getTypeSpelling(type)), reason);
}

bool hmoec_c_type_equal(hmoec_c_type a, hmoec_c_type b) {
  return a.class == b.class && a.bits == b.bits && a.is_signed == b.is_signed;
}

hmoec_c_type hmoec_c_type_promote(hmoec_c_type type) {
  return type.class == HMOEC_C_INTEGER && type.bits < 32 ? hmoec_c_int : type;
}

hmoec_c_type hmoec_c_type_common(hmoec_c_type a, hmoec_c_type b) {
  a = hmoec_c_type_promote(a);
  b = hmoec_c_type_promote(b);
  if (a.class != b.class) return a.class == HMOEC_C_FLOATING ? a : b;
  if (a.bits != b.bits) return a.bits > b.bits ? a : b;
  return a.is_signed ? b : a;
}

const char *hmoec_c_type_name(hmoec_c_type type) {
  if (type.class == HMOEC_C_VOID) return "void";
  if (type.class == HMOEC_C_FLOATING) return type.bits == 32 ? "float" : "double";
  switch (type.bits) {
  case 1: return "_Bool";
  case 8: return type.is_signed ? "signed char" : "unsigned char";
  case 16: return type.is_signed ? "short" : "unsigned short";
  case 32: return type.is_signed ? "int" : "unsigned int";
  default: return type.is_signed ? "long" : "unsigned long";
  }
}
